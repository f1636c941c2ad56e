"""Reports: a page's results, or a whole study, as one HTML file that anybody can open."""
