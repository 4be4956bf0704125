"""headrace-example, a plugin of headrace. What headrace imports is `plugin`."""
