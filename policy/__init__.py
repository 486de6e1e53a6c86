"""The policy decision point: Cedar policies, their schema, risk and tiers.

Trusted to answer every question with Cedar's own rules and to answer no where anything is
missing, malformed or in error. It keeps no clock, opens no socket and reads files only in
`policy.bundle.load_directory` and the package data of `policy.defaults`. A denial is a value; the
errors that leave this package are `policy.errors.PolicyError` and its children.
"""
