"""The driver of Keystone v3: signs imaged in, and asks whose tokens are."""
