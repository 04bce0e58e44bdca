"""Trials: long black-box experiments on a subject that end in counts.

`kills` (a process or server dies again and again under load), `race` (cancellation against completion) and `hostile`
(messages and bodies that are not valid, many of them). Each drives a subject from outside and says what it saw.
"""
