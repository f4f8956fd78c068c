"""Code that is laid into a sandbox and run there: attacks. Python 3.11's standard library is all that it uses."""
