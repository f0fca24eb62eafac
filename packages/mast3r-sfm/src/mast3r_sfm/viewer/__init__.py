"""A scene in the browser (spec 60 D9; extra ``viewer``): nothing here is imported before it is asked for."""
