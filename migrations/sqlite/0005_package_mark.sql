-- Which packages have a fragment.
CREATE INDEX package_mark ON package (root, mark);
