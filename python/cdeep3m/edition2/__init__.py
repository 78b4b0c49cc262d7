"""The steps of CDeep3M2 2.1.5, the authors' later edition, as it takes them: arrays in, arrays out."""
