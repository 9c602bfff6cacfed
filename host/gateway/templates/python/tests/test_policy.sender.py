"""Asks the policy without the gateway: `python3 -m unittest tests/test_policy.py`."""

import unittest

import policy
from secmx import SenderRole
from secmx.testing import Fake, Gateway, ask


class Words(unittest.TestCase):
    def test_a_word_is_seen(self) -> None:
        destination = Fake(domain="secret.example")
        ask(policy, "route", destination, gateway=Gateway(settings={"words": ["secret"]}))
        self.assertEqual(destination.calls, [("set_role", SenderRole.SECURE_ONLY)])
