"""The description of the HTTP interface in OpenAPI 3.1, put together from small pieces."""
