"""modelward: is this model safe? Claims with a bracket, evidence, and a policy that is enforced."""
