"""imaged keeps disk images: their bytes in a store, their facts in a catalog."""

from pathlib import Path

#: The configuration of daemon and commands, where no other is named.
DEFAULT_CONFIG_FILE = Path("/etc/imaged/imaged.toml")
