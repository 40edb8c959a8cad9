"""The interfaces between services and drivers: promises, possible failures, undefined behaviour."""
