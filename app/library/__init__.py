"""The page Library: what is kept, what stands on what, and bundles that go out and come in."""
