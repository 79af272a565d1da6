"""Creates, describes and deletes the deployment on AWS."""
