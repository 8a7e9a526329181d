"""Pictures with knobs: in a live notebook, in a static page with no kernel, or as plain figures."""
