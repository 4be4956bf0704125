"""The Python face of the Rust core, one module a noun; the only importer of `headrace._core`."""
