"""What the back ends' tests share. ldap3 uses names that pyasn1 has deprecated: it is imported here, once, in peace."""

import warnings

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    import ldap3  # noqa: F401
