"""Accounts: `names` judges names and passwords (pure), `passwords` hashes them beside the loop, `signing` makes and
ends accounts and sessions, `keys` are for programs, `who` says on whose behalf a request comes."""
