"""The description of the API: every endpoint with its parameters and answers, and the OpenAPI document made of it."""
