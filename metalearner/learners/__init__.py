"""Learners: how a policy is trained so that it adapts."""
