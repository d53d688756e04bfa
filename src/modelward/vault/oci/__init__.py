"""Models as OCI image layouts, so that registries of containers store and serve them."""
