"""Sites: how a site shows people, how well that is known, and what that evidence supports."""
