"""The page of the app: photographs, searches and a small server, on the person's own machine."""
