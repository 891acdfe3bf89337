"""SVG pictures, and the page of the anatomy."""
