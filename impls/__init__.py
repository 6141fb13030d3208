"""One folder per framework.

This package exists so that `impls.tensorflow` can never be mistaken for `tensorflow`: nothing may
put this folder itself on `sys.path`.
"""
