"""The SPD Lab engine: gradients of a capability, its subspace, and text written inside it.

Read in this order: families, models, capability, spans, tasks, tables, importing, gradients, spectrum, subspace,
projection, generation, recipes, corpus, distill, stages, arms, runs; evaluation_recipes, subjects, sandbox, scoring,
evaluation, significance, claims, evaluation_table, table_runs; export. Importing the package is instant; torch is
imported by the first module that computes with it.
"""

__version__ = "0.1.0"
