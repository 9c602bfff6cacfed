"""Asks the policy without the gateway: `python3 -m unittest tests/test_policy.py`."""

import unittest

import policy
from secmx.testing import Fake, Gateway, ask


class Words(unittest.TestCase):
    def test_a_word_is_seen(self) -> None:
        ruling = ask(policy, "mail", Fake(hello="secret.example"), None, [], gateway=Gateway(settings={"words": ["secret"]}))
        self.assertEqual(ruling.value[0].code, 550)
