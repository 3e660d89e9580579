"""The command line: words around what `control` does. One module a command, loaded when it is called."""
