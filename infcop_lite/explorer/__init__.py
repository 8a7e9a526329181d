"""Pictures with knobs, in a live notebook, a static page or as plain figures."""
