"""Who may do what: tokens and issuers say who somebody is, the policy says what they may do.

:mod:`~rowcast.access.roles`
    Permissions, and the roles that hold them.
:mod:`~rowcast.access.policy`
    Which member has which role, on what.
:mod:`~rowcast.access.tokens`
    Secrets that stand for a member.
:mod:`~rowcast.access.oidc`
    Signed statements of a company's own login.
:mod:`~rowcast.access.guard`
    Both questions, asked by the server for every request and by jobs when they run.
"""
