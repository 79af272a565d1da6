"""Leaves out records that nobody wants to pay for, by selectors in the syntax of CloudTrail's advanced ones."""
