"""The command ``geventpop3``: its subcommands, its settings, and what is built of them."""
