pytest_plugins = ["harness.conformance"]
