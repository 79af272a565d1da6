"""Writes what is generated from the code and the template: reference pages, pictures, and the Terraform module."""
