"""The command ``geventpop3``: its subcommands and settings, and the server built from them."""
