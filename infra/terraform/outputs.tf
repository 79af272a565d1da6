# Generated from infra/template.yaml: change the template, then run `make docs`.

output "opensearch_url" {
  description = "Where events are indexed"
  value       = aws_cloudformation_stack.trailsink.outputs["OpensearchUrl"]
}

output "dashboards_url" {
  description = "OpenSearch Dashboards, where people search; null where there is none"
  value       = lookup(aws_cloudformation_stack.trailsink.outputs, "DashboardsUrl", null)
}

output "master_secret_arn" {
  description = "User and password for Dashboards, in Secrets Manager; null where there is none"
  value       = lookup(aws_cloudformation_stack.trailsink.outputs, "MasterSecretArn", null)
}

output "queue_url" {
  description = "Notices of new files"
  value       = aws_cloudformation_stack.trailsink.outputs["QueueUrl"]
}

output "dead_letter_queue_url" {
  description = "What could not be indexed, with its reason"
  value       = aws_cloudformation_stack.trailsink.outputs["DeadLetterQueueUrl"]
}

output "loader_function_name" {
  description = "The function"
  value       = aws_cloudformation_stack.trailsink.outputs["LoaderFunctionName"]
}

output "loader_role_arn" {
  description = "Who writes; to be let into a cluster, key or bucket that is not the stack's own"
  value       = aws_cloudformation_stack.trailsink.outputs["LoaderRoleArn"]
}

output "cluster_setup_role_arn" {
  description = "Who sets the cluster up; with domain_sign_in iam, the new domain's master; null where there is none"
  value       = lookup(aws_cloudformation_stack.trailsink.outputs, "ClusterSetupRoleArn", null)
}

output "pipeline_dashboard" {
  description = "The pipeline, in CloudWatch"
  value       = aws_cloudformation_stack.trailsink.outputs["PipelineDashboard"]
}

output "next_commands" {
  description = "For your shell; then trailsink doctor, trailsink dlq list"
  value       = aws_cloudformation_stack.trailsink.outputs["NextCommands"]
}
