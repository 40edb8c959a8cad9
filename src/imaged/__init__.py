"""imaged keeps disk images: their bytes in a store, their facts in a catalog."""
