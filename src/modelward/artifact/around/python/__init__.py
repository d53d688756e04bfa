"""Python source on its syntax tree: what names stand for, which calls are made where, and what they mean."""
