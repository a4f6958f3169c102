"""Controllers against learners that are known: what a rule does to zero reward, noise, jumps and learning, in a second."""
