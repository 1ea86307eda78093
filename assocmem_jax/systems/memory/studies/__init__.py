"""GD Figures 1–6, capacities and scaling laws of the Slides, and what lies beyond the edge."""
