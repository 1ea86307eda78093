"""Birth Figures 1–11, three gradient steps, and GD Figure 7."""
