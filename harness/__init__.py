"""The conformance harness: drives any executor of the contract as a black box."""
