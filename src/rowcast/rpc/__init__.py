"""The gRPC door: the REST API's resources, for clients that speak gRPC alone.

Every call becomes the HTTP request that Google's own rules give for it, and goes through the whole
HTTP application: the same checks of access, the same handlers, the same log. Messages and rules
come from the installed ``google-cloud-aiplatform``; there is no second description of the API.

:mod:`~rowcast.rpc.methods`
    Which methods there are, with their messages and HTTP rules.
:mod:`~rowcast.rpc.bridge`
    One call: message to HTTP request, HTTP answer to message or status.
:mod:`~rowcast.rpc.server`
    The server on a port of its own.
"""
