"""refbn beside the frameworks, and under the tests that others wrote."""
