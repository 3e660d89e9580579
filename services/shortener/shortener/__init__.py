"""A URL shortener: short codes in, redirects out. An ordinary service: it imports `tenfold` and nothing inside it.

app          the ASGI application: all routes, what goes wrong
model        the Tenfold object                settings   what [settings] in tenfold.toml may say
links/       what a link is, how it is made, found, changed and listed
redirects    the hot route                     visits/    what is counted of it, and drawn
accounts/    people and their API keys         abuse/     reports, quarantine
measures     what is counted for its owner
quotas       how often somebody may do something
api/         the face for programs             pages/     the face for people, with templates/ and static/
words/       every sentence, in English and Korean
"""
