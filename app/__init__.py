"""The Streamlit front end: what pages share. Pages import it; it imports spd_core, and never a page."""
