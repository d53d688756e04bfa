"""The check `evasion.cost`: inputs that cost a model more time or energy than ordinary ones."""
