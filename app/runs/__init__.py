"""What Fine-tune and Evaluation share: one run on the page, all runs, and the form of a recipe."""
