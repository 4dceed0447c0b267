"""Brevo Loyalty, a loyalty platform."""
