"""One module for each verb, with a function ``run(arguments)``; a verb never imports another verb."""
