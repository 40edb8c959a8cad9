"""The driver that sends events over HTTP: CloudEvents, signed as Standard Webhooks are."""
