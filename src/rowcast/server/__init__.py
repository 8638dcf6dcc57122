"""The HTTP server: Vertex AI's v1 REST surface over the job service and the stores."""
