"""What a deployment should do next, by its figures: mostly nothing."""

from tenfold.control.advice.advising import RULES, advise

__all__ = ["RULES", "advise"]
